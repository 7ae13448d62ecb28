"""Growth: how a lesion changed between the predictions of several scans."""
