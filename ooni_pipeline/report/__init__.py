"""What a report and an entry are: file names, the two formats, the nettests."""
