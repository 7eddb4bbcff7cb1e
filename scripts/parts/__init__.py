"""What the scripts are made of. What a user types is one directory up."""
