"""One file for each schema that was ever released. A released file is never edited."""
