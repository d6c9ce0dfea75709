"""The asset library: what plays, when, and where it came from."""
