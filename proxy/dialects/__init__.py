"""What each kind of model server takes and calls things: one data file for each, and what reads them."""
