"""Tables and figures from what runs left behind; reads json and csv, and knows no model."""
