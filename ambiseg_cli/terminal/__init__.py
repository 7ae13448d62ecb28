"""What the commands share: console, options, tables and displays. Nothing here knows a model."""
