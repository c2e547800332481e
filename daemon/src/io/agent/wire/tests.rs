//! Messages of OpenSSH as they were on the wire, and what hostile bytes do.
