//! Commands for which there is no peer, or nothing to do.

use crate::seat::Seat;

#[tokio::test]
async fn commands_for_a_running_peer_say_that_there_is_none_and_what_to_do() {
    let seat = Seat::new();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["peers"],
        &["ping", "home"],
        &["traceroute", "home"],
        &["verify", "home", "--yes"],
        &["verify", "home", "--digits"],
        &["expose", "http=80"],
        &["forward", "80=http@home"],
        &["services"],
        &["stop"],
    ] {
        let said = seat.call(arguments).await;
        said.failed(8, "no peer runs on");
        assert!(said.err.contains("`peerup join` makes one"), "{said:?}");
        assert_eq!(said.out, "");
    }
    seat.call(&["leave", "--yes"])
        .await
        .failed(8, "nothing to leave");
    assert!(!seat.dir().exists(), "looking made {:?}", seat.files());
}

#[tokio::test]
async fn without_a_membership_nothing_can_be_started() {
    let seat = Seat::new();
    for arguments in [&["start"][..], &["daemon"], &["join"]] {
        seat.call(arguments).await.failed(2, "holds no membership");
    }
}

#[tokio::test]
async fn words_for_shells_and_readers_need_no_peer() {
    let seat = Seat::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = seat.call(&["completion", shell]).await.ok().out;
        assert!(
            script.contains("traceroute") || script.contains("status"),
            "{shell}"
        );
    }
    let page = seat.call(&["man"]).await.ok().out;
    assert!(page.contains(".TH peerup 1"), "{page}");
    let unit = seat.call(&["daemon", "--print-unit"]).await.ok().out;
    assert!(unit.contains(seat.dir().to_str().unwrap()), "{unit}");
    assert!(!seat.dir().exists());
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let seat = Seat::made();
    let pages = seat.dir().join("man");
    seat.call(&["man", "--dir", pages.to_str().unwrap()])
        .await
        .ok();
    for page in ["peerup.1", "peerup-join.1", "peerup-leave.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains("Exit codes"), "{page}: {text}");
    }
}
