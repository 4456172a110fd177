"""Tables: intake, validation and the data sets that ship with the package."""
