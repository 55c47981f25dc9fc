"""Measures eggos beside a Linux guest that runs the same Go binaries. See bench/README.md."""
