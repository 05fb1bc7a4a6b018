"""What the client costs, measured; see ``README.md`` beside this file."""
