"""The page at `/`: plain HTML, CSS and JavaScript, served as they stand here."""
