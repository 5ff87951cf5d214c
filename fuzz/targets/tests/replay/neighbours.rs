//! Bytes that are nearly right: seeds cut, with a byte more, or with one byte changed.
//! Most are refused; what is accepted must still encode to itself, so that no field can
//! be left unread.

use peerup_fuzz_targets::{TARGETS, Target};

use crate::corpus::Expected;
use crate::{outcome, seeds};

/// Most neighbours of one seed that are tried; of longer ones a part, evenly spread.
const MOST: usize = 4000;
/// The same for the handshake, which computes with keys each time.
const MOST_SLOW: usize = 400;

#[test]
fn seeds_are_accepted_and_their_neighbours_keep_the_properties() {
    for (name, target) in TARGETS {
        let most = if is_slow(name) { MOST_SLOW } else { MOST };
        for (seed, bytes) in seeds::of(name) {
            assert_eq!(
                outcome(*target, &bytes),
                Expected::Accepted,
                "{name} {seed}"
            );
            let broken = first_broken(*target, &bytes, most);
            assert_eq!(broken, None, "{name}: nearly {seed}");
        }
    }
}

fn is_slow(name: &str) -> bool {
    ["m2", "m3", "m4", "m5"].contains(&name)
}

/// The first neighbour that breaks a property.
fn first_broken(target: Target, seed: &[u8], most: usize) -> Option<Vec<u8>> {
    let all: usize = CHANGES.len() * seed.len() + 2;
    let step = all.div_ceil(most);
    let tried = neighbours(seed).step_by(step);
    let mut broken = tried.filter(|bytes| outcome(target, bytes) == Expected::Broken);
    broken.next()
}

/// What is done to a byte; the last one cuts there instead.
const CHANGES: [fn(u8) -> Option<u8>; 7] = [
    |byte| Some(byte ^ 0x01),
    |byte| Some(byte ^ 0x80),
    |byte| Some(byte.wrapping_add(1)),
    |byte| Some(byte.wrapping_sub(1)),
    |_| Some(0x00),
    |_| Some(0xff),
    |_| None,
];

fn neighbours(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let changed = move |at: usize| {
        CHANGES.iter().map(move |change| {
            let mut bytes = seed.to_vec();
            match change(seed[at]) {
                Some(byte) => bytes[at] = byte,
                None => bytes.truncate(at),
            }
            bytes
        })
    };
    let longer = [0x00, 0xff].map(|byte| [seed, &[byte]].concat());
    (0..seed.len()).flat_map(changed).chain(longer)
}
