"""What a user sees of a result: a table, a JSON object, a page, and the network's outputs."""
