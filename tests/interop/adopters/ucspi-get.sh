#!/bin/sh
# A program for a UCSPI client, which reads the network from 6 and writes it to 7: fetches a page. With TLS:
#
#   tcpclient www.example 443 tlsify connect --fd 6 --ucspi www.example -- ./ucspi-get.sh /index.html
printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&7
exec cat <&6
