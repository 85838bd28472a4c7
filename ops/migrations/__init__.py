"""Tables, roles and functions of the permanent record."""
