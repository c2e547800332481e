//! Values of questions before TLS starts: what is asked, what is answered, what happens without an answer.

use super::keyword::keywords;

keywords! {
    /// What the daemon asks its caller.
    Ask, "client-hello" {
        /// What to do with a peer whose ClientHello has come.
        ClientHello = "client-hello",
    }
}

keywords! {
    /// What happens when nothing was chosen in time.
    #[derive(Default)]
    AskDefault, "refuse, give-back or own" {
        /// As `choose` with `action=refuse`.
        #[default]
        Refuse = "refuse",
        /// As `choose` with `action=give-back`.
        GiveBack = "give-back",
        /// As `choose` with `action=own`.
        Own = "own",
    }
}

keywords! {
    /// What a caller chooses.
    Action, "own, profile, refuse or give-back" {
        /// The handshake, with the profile or the keys of the request.
        Own = "own",
        /// The handshake, with another profile.
        Profile = "profile",
        /// No handshake: the peer gets an alert, and its connection is closed.
        Refuse = "refuse",
        /// No handshake: the socket stays the caller's, with every byte unread.
        GiveBack = "give-back",
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $number:literal;)*) => {
        keywords! {
            /// The alerts that a server can answer a ClientHello with (RFC 9846 section 6.2).
            #[derive(Default)]
            RefusalAlert, "the name of an alert that answers a ClientHello, such as handshake_failure" {
                $($(#[$doc])* $variant = $text,)*
            }
        }

        impl RefusalAlert {
            /// AlertDescription.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }
        }
    };
}

refusals! {
    /// No acceptable parameters: says least.
    #[default]
    HandshakeFailure = "handshake_failure", 40;
    /// A value in it is not acceptable.
    IllegalParameter = "illegal_parameter", 47;
    /// Not for this client.
    AccessDenied = "access_denied", 49;
    /// No acceptable version.
    ProtocolVersion = "protocol_version", 70;
    /// What it offers is too weak.
    InsufficientSecurity = "insufficient_security", 71;
    /// The fault is on the server's side; clients may try again.
    InternalError = "internal_error", 80;
    /// RFC 7507.
    InappropriateFallback = "inappropriate_fallback", 86;
    /// Something has to be in it and is not.
    MissingExtension = "missing_extension", 109;
    /// RFC 6066 section 3: nobody here has this server_name.
    UnrecognizedName = "unrecognized_name", 112;
    /// RFC 7301 section 3.2.
    NoApplicationProtocol = "no_application_protocol", 120;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Alert, Party};

    #[test]
    fn an_alerts_name_is_the_one_of_its_number() {
        for alert in RefusalAlert::ALL {
            assert_eq!(Alert { description: alert.code(), from: Party::Us }.name(), alert.as_str());
        }
    }
}
