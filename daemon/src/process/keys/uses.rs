//! What each key of a configuration is lent for.

use std::collections::HashMap;
use std::path::Path;

use crate::config::{Config, Identity, IdentityKey, Level, Profile, Role, Version};
use crate::tls::Uses;

/// The uses of each key, over all profiles that name it.
#[derive(Debug, Default)]
pub(crate) struct UsesOfAll<'a>(HashMap<Meant<'a>, Uses>);

/// Which key: a file's whatever certificate it goes with, and a signer's by the certificate.
type Meant<'a> = (&'a IdentityKey, Option<&'a Path>);

fn meant(identity: &Identity) -> Meant<'_> {
    let by_file = matches!(identity.key, IdentityKey::File(_));
    (&identity.key, identity.certificate.as_deref().filter(|_| !by_file))
}

impl<'a> UsesOfAll<'a> {
    /// Looks through all profiles.
    pub(crate) fn of(config: &'a Config) -> Self {
        let mut all = HashMap::new();
        for profile in &config.profiles {
            let uses = of_profile(profile, config.floor, config.level);
            for identity in &profile.identities {
                let sum: &mut Uses = all.entry(meant(identity)).or_default();
                *sum = both(*sum, uses);
            }
        }
        Self(all)
    }

    /// Those of one identity's key.
    pub(crate) fn get(&self, identity: &Identity) -> Uses {
        self.0.get(&meant(identity)).copied().unwrap_or_default()
    }
}

fn both(one: Uses, other: Uses) -> Uses {
    Uses {
        tls13_server: one.tls13_server || other.tls13_server,
        tls13_client: one.tls13_client || other.tls13_client,
        tls12_server: one.tls12_server || other.tls12_server,
        tls12_client: one.tls12_client || other.tls12_client,
    }
}

/// The role's, less the versions that no session of this profile has. A key that never signs in TLS 1.2 cannot be made to:
/// attacks across versions (DROWN and its kin) begin with one that does.
fn of_profile(profile: &Profile, floor: Version, floor_level: Option<Level>) -> Uses {
    let levels = [profile.level, floor_level].into_iter().flatten().map(Level::least_version);
    let minimum = profile.minimum.into_iter().chain(levels).fold(floor, Version::max);
    let tls12 = minimum <= Version::Tls12;
    let tls13 = profile.maximum.is_none_or(|maximum| maximum >= Version::Tls13);
    let server = profile.role == Role::Server;
    Uses {
        tls13_server: server && tls13,
        tls13_client: !server && tls13,
        tls12_server: server && tls12,
        tls12_client: !server && tls12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(text: &str) -> [bool; 4] {
        let config = Config::parse(text, Path::new("/c/tlsifyd.toml")).unwrap();
        let uses = UsesOfAll::of(&config).get(&config.profiles[0].identities[0]);
        [uses.tls13_server, uses.tls12_server, uses.tls13_client, uses.tls12_client]
    }

    fn profile(name: &str, role: &str, keys: &str) -> String {
        format!(
            "[[profile]]\nname = \"{name}\"\nrole = \"{role}\"\nusers = [1]\n{keys}\n\
             [[profile.identity]]\ncertificate = \"c\"\nkey = \"k\"\n"
        )
    }

    #[test]
    fn a_key_is_lent_for_the_versions_and_roles_of_its_profiles_and_no_others() {
        let server = |keys: &str| uses(&profile("a", "server", keys));
        assert_eq!(server(""), [true, true, false, false]);
        assert_eq!(server("minimum = \"1.3\""), [true, false, false, false]);
        assert_eq!(server("level = \"modern\""), [true, false, false, false]);
        assert_eq!(server("maximum = \"1.2\""), [false, true, false, false]);
        assert_eq!(uses(&profile("a", "client", "")), [false, false, true, true]);
        let floor = format!("[tls]\nminimum = \"1.3\"\n{}", profile("a", "client", ""));
        assert_eq!(uses(&floor), [false, false, true, false]);
    }

    #[test]
    fn a_key_of_several_profiles_is_lent_for_what_any_of_them_does() {
        let text = profile("a", "server", "minimum = \"1.3\"") + &profile("b", "client", "maximum = \"1.2\"");
        assert_eq!(uses(&text), [true, false, false, true]);
    }
}
