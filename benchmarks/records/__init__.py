"""What runs leave: the files, their columns, who writes and who reads them. No module here loads torch."""
