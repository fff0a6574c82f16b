"""Plain text continued, and how well it is foretold."""
