#!/bin/sh
# The manual page is well formed. That it says what the source says is checked by ./tables.
command -v mandoc >/dev/null || { echo "mandoc is missing"; exit 77; }
mandoc -T lint -W warning deploy/weir.1
