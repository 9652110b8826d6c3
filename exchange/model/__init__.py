"""What the words mean: frozen values that do no input or output."""
