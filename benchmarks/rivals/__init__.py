"""Other backtesters on the common rule: each file is a program for an interpreter that has the package it names."""
