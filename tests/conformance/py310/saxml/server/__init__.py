"""Stand-in for the package of the same name in SAX v1.1.0."""
