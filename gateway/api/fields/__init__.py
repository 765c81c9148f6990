"""What a client may say, field by field: `table` lists the fields, the other files say what a good value is."""
