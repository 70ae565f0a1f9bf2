"""What is wrong with a data set, what would leak between its splits, and which settings fit it."""
