use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::process::gather::Disk;
use crate::process::keys::InProcess;
use crate::process::operator::ConfigPlace;
use crate::process::test_folder::Folder;

fn identity(folder: &Folder, name: &str) {
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.path(&format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
    let path = folder.path(&format!("{name}.key"));
    fs::write(&path, key.serialize_pem()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn profile(name: &str, who: &str, identity: &str) -> String {
    format!(
        "[[profile]]\nname = \"{name}\"\nrole = \"server\"\n{who}\n[[profile.identity]]\n\
         certificate = \"{identity}.pem\"\nkey = \"{identity}.key\"\n"
    )
}

fn caller(uid: u32, groups: &[u32]) -> CallerCred {
    CallerCred { uid, gid: uid, groups: groups.to_vec(), pid: 1 }
}

fn names(permitted: &Permitted) -> Vec<&str> {
    permitted.profiles.iter().map(String::as_str).collect()
}

#[test]
fn a_record_for_one_user_has_what_its_profiles_name_and_nothing_of_the_others() {
    let folder = Folder::new();
    for name in ["shop", "mail"] {
        identity(&folder, name);
    }
    let text = profile("shop", "users = [33]", "shop")
        + &profile("mail", "groups = [100]", "mail")
        + &profile("spare", "users = [33]", "mail");
    let path = folder.path("tlsifyd.toml");
    fs::write(&path, text).unwrap();
    let place = ConfigPlace { path, required: true };
    let sources = Recording::new(Disk::default(), Some(&place));
    let mut in_process = InProcess::to_serve();
    let mut noting = Noting::new(&mut in_process);
    let loaded = Loaded::load(&place, &sources, &mut noting).unwrap();
    let permits = noting.permits(&loaded);
    let (both, mail, none) =
        (permits.of(&caller(33, &[])), permits.of(&caller(7, &[100])), permits.of(&caller(7, &[])));
    assert_eq!((names(&both), names(&mail), names(&none)), (vec!["shop", "spare"], vec!["mail"], vec![]));
    assert_eq!((both.pins.len(), mail.pins.len(), none.pins.len()), (2, 1, 0));
    assert!(mail.pins.is_subset(&both.pins), "of the key that both have");

    let spki = |name: &str| {
        let pem = fs::read_to_string(folder.path(&format!("{name}.key"))).unwrap();
        let key = rcgen::KeyPair::from_pem(&pem).unwrap();
        rcgen::PublicKeyData::subject_public_key_info(&key)
    };
    let keys = ["shop", "mail"].map(|name| (folder.path(&format!("{name}.key")), spki(name)));
    let whole = sources.gathered(keys).seal().unwrap();
    let part = Gathered::unseal(record_for(&mail.profiles, &whole).unwrap()).unwrap();
    assert!(part.public_half(&folder.path("mail.key")).is_some());
    assert!(part.public_half(&folder.path("shop.key")).is_none());
    let shown = format!("{part:?}");
    assert!(shown.contains("mail.pem") && !shown.contains("shop.pem"), "{shown}");
    let mut keys = FromRecord::new(&part, &Nobodys);
    let loaded = Loaded::load_only(&place, Some(&mail.profiles), &Record(&part), &mut keys).unwrap();
    assert_eq!(loaded.operator.profiles.keys().collect::<Vec<_>>(), ["mail"]);
    assert_eq!(loaded.operator.withheld, ["shop", "spare"]);
}
