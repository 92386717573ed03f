"""What every command needs of the machine: processes, files written whole, journals, settings, faults, a clock."""
