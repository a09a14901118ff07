"""From an object file and a call list to the library that ships."""
