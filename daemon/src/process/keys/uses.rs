//! What each key of a configuration is lent for.

use std::collections::HashMap;
use std::path::Path;

use crate::config::{Config, Identity, IdentityKey, Level, Profile, Role, Version};
use crate::tls::Uses;

/// The uses of each key, over all profiles that name it.
#[derive(Debug)]
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
                all.entry(meant(identity)).and_modify(|sum: &mut Uses| *sum = sum.and(uses)).or_insert(uses);
            }
        }
        Self(all)
    }

    /// Those of the key of one of the configuration's identities.
    pub(crate) fn get(&self, identity: &Identity) -> Uses {
        self.0[&meant(identity)]
    }
}

/// The role's, less the versions that no session of this profile has. A key that never signs in TLS 1.2 cannot be made to:
/// attacks across versions (DROWN and its kin) begin with one that does.
fn of_profile(profile: &Profile, floor: Version, floor_level: Option<Level>) -> Uses {
    let levels = [profile.level, floor_level].into_iter().flatten().map(Level::least_version);
    let minimum = profile.minimum.into_iter().chain(levels).fold(floor, Version::max);
    let tls12 = minimum <= Version::Tls12;
    let tls13 = profile.maximum.is_none_or(|maximum| maximum >= Version::Tls13);
    let (role, by_version) = match profile.role {
        Role::Server => (Uses::SERVER, [Uses::TLS13_SERVER, Uses::TLS12_SERVER]),
        Role::Client => (Uses::CLIENT, [Uses::TLS13_CLIENT, Uses::TLS12_CLIENT]),
    };
    let used = by_version.into_iter().zip([tls13, tls12]).filter_map(|(uses, is)| is.then_some(uses));
    // Without any version left, the profile is refused before its key is of use.
    used.reduce(Uses::and).unwrap_or(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(text: &str) -> Uses {
        let config = Config::parse(text, Path::new("/c/tlsifyd.toml")).unwrap();
        UsesOfAll::of(&config).get(&config.profiles[0].identities[0])
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
        assert_eq!(server(""), Uses::SERVER);
        assert_eq!(server("minimum = \"1.3\""), Uses::TLS13_SERVER);
        assert_eq!(server("level = \"modern\""), Uses::TLS13_SERVER);
        assert_eq!(server("maximum = \"1.2\""), Uses::TLS12_SERVER);
        assert_eq!(uses(&profile("a", "client", "")), Uses::CLIENT);
        let floor = format!("[tls]\nminimum = \"1.3\"\n{}", profile("a", "client", ""));
        assert_eq!(uses(&floor), Uses::TLS13_CLIENT);
    }

    #[test]
    fn a_key_of_several_profiles_is_lent_for_what_any_of_them_does() {
        let text = profile("a", "server", "minimum = \"1.3\"") + &profile("b", "client", "maximum = \"1.2\"");
        assert_eq!(uses(&text), Uses::TLS13_SERVER.and(Uses::TLS12_CLIENT));
    }
}
