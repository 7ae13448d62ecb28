"""What a prediction leaves behind: folders, batches, exports, previews and the report."""
