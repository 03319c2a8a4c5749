"""The shared vocabulary: how places, sizes and colours are said and read, and what an expression's words ask for."""
