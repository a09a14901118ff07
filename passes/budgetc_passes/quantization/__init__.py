"""Static integer quantisation in QDQ form."""
