#!/bin/sh
# A program for a UCSPI server: says what it is told of its client, and repeats a line. With TLS:
#
#   tcpserver 0 8443 tlsify accept --cert cert.pem --key key.pem -- ./ucspi-who.sh
#   CERTFILE=cert.pem KEYFILE=key.pem s6-tcpserver 0.0.0.0 8443 tlsify accept -- ./ucspi-who.sh
#   socat TCP-LISTEN:8443,reuseaddr,fork 'EXEC:tlsify accept --cert cert.pem --key key.pem -- ./ucspi-who.sh,nofork'
env
IFS= read -r line
echo "you said: $line"
