//! Tests against real directories.

use super::*;

/// A directory of its own for one test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("peerup-state-{:016x}", rand::random::<u64>()));
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_key_is_made_once_for_its_owner_only() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    let first = store.identity(Secret::from([7; 32])).unwrap();
    let second = store.identity(Secret::from([8; 32])).unwrap();
    assert_eq!(first.expose(), &[7; 32]);
    assert_eq!(second.expose(), &[7; 32]);
    assert_eq!(mode_of(&dir.0).unwrap(), 0o700);
    assert_eq!(mode_of(&dir.0.join(IDENTITY)).unwrap(), 0o600);
}

#[test]
fn a_key_that_others_can_read_is_refused_or_tightened() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.identity(Secret::from([7; 32])).unwrap();
    let path = dir.0.join(IDENTITY);
    chmod(&path, 0o640);
    let refused = store.identity(Secret::from([8; 32])).unwrap_err();
    assert!(
        matches!(
            refused,
            StateError::Permissions {
                found: 0o640,
                expected: 0o600,
                ..
            }
        ),
        "{refused}"
    );
    drop(store);
    let store = Store::open(&dir.0, Access::Tighten).unwrap();
    assert_eq!(
        store.identity(Secret::from([8; 32])).unwrap().expose(),
        &[7; 32]
    );
    assert_eq!(mode_of(&path).unwrap(), 0o600);
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let dir = Scratch::new();
    std::fs::create_dir(&dir.0).unwrap();
    chmod(&dir.0, 0o777);
    assert!(matches!(
        Store::open(&dir.0, Access::Refuse),
        Err(StateError::Permissions { found: 0o777, .. })
    ));
    Store::open(&dir.0, Access::Tighten).unwrap();
}

#[test]
fn a_damaged_key_is_said_and_kept() {
    for content in [&[1_u8; 31][..], &[1; 33], &[]] {
        let dir = Scratch::new();
        let store = Store::open(&dir.0, Access::Refuse).unwrap();
        let path = dir.0.join(IDENTITY);
        std::fs::write(&path, content).unwrap();
        chmod(&path, 0o600);
        let error = store.identity(Secret::from([8; 32])).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[test]
fn membership_survives_a_new_process_and_can_be_forgotten() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    assert_eq!(store.membership::<String>().unwrap(), None);
    store.save_membership(&"one").unwrap();
    store.save_membership(&"two").unwrap();
    drop(store);
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    assert_eq!(
        store.membership::<String>().unwrap().as_deref(),
        Some("two")
    );
    store.forget_membership().unwrap();
    store.forget_membership().unwrap();
    assert_eq!(store.membership::<String>().unwrap(), None);
}

#[test]
fn a_failed_write_keeps_what_was_there() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.save_membership(&"one").unwrap();
    // A directory in the way of the file beside: works as root too, unlike permissions.
    std::fs::create_dir(dir.0.join("membership.new")).unwrap();
    let error = store.save_membership(&"two").unwrap_err();
    assert!(error.to_string().contains("membership.json"), "{error}");
    assert_eq!(
        store.membership::<String>().unwrap().as_deref(),
        Some("one")
    );
}

#[test]
fn one_process_at_a_time_and_others_see_it() {
    let dir = Scratch::new();
    assert_eq!(read_status::<String>(&dir.0).unwrap(), None);
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.save_status(&"joined").unwrap();
    assert!(matches!(
        Store::open(&dir.0, Access::Refuse),
        Err(StateError::InUse { .. })
    ));
    let seen = read_status::<String>(&dir.0).unwrap();
    assert_eq!(seen, Some(("joined".to_owned(), true)));
    drop(store);
    let seen = read_status::<String>(&dir.0).unwrap();
    assert_eq!(seen, Some(("joined".to_owned(), false)));
}
