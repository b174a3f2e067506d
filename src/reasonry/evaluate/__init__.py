"""Many attempts, judged, priced, with error bars."""
