//! The table of 64 pictures, and six bits of a picture each.

/// Picture and name; the index is what both sides compute.
const TABLE: [(&str, &str); 64] = [
    ("🎈", "balloon"),
    ("🍌", "banana"),
    ("🔔", "bell"),
    ("🚲", "bicycle"),
    ("📕", "book"),
    ("🦋", "butterfly"),
    ("🌵", "cactus"),
    ("🎂", "cake"),
    ("📷", "camera"),
    ("🏰", "castle"),
    ("🐱", "cat"),
    ("🍒", "cherries"),
    ("⏰", "clock"),
    ("🌽", "corn"),
    ("🐮", "cow"),
    ("👑", "crown"),
    ("💎", "diamond"),
    ("🐶", "dog"),
    ("🐬", "dolphin"),
    ("🚪", "door"),
    ("🥁", "drum"),
    ("🦆", "duck"),
    ("🐘", "elephant"),
    ("🔥", "fire"),
    ("🏁", "flag"),
    ("👣", "footprints"),
    ("🐸", "frog"),
    ("👻", "ghost"),
    ("🎁", "gift"),
    ("👓", "glasses"),
    ("🌍", "globe"),
    ("🍇", "grapes"),
    ("🎸", "guitar"),
    ("🔨", "hammer"),
    ("🎩", "hat"),
    ("🚁", "helicopter"),
    ("🐴", "horse"),
    ("🔑", "key"),
    ("🍋", "lemon"),
    ("💡", "lightbulb"),
    ("🦁", "lion"),
    ("🔒", "lock"),
    ("🐒", "monkey"),
    ("🌙", "moon"),
    ("🍄", "mushroom"),
    ("🐙", "octopus"),
    ("🦉", "owl"),
    ("🐼", "panda"),
    ("🐧", "penguin"),
    ("🐷", "pig"),
    ("📌", "pin"),
    ("🍕", "pizza"),
    ("🤖", "robot"),
    ("🚀", "rocket"),
    ("⛵", "sailboat"),
    ("🦂", "scorpion"),
    ("👟", "shoe"),
    ("🐌", "snail"),
    ("🌻", "sunflower"),
    ("🚂", "train"),
    ("🌳", "tree"),
    ("🏆", "trophy"),
    ("🐢", "turtle"),
    ("☔", "umbrella"),
];

/// One picture of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emoji {
    /// What terminals show.
    pub glyph: &'static str,
    /// What people say on the phone; lower-case letters.
    pub name: &'static str,
}

impl Emoji {
    /// The picture of the lowest six bits.
    #[must_use]
    pub fn of(bits: u8) -> Self {
        let (glyph, name) = TABLE[usize::from(bits & 63)];
        Self { glyph, name }
    }
}
