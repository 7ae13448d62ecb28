"""From a scan to ranked hypotheses of its lesions: where to look, what the model says there, and what is written."""
