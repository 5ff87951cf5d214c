//! Who else is a member, from a relay; and renewals.

use super::{
    MAX_LONG_FRAME, MAX_MEMBER_RECORD, MAX_RECORD, read_optional, read_signed, write_optional,
    write_signed,
};
use crate::id::Serial;
use crate::record::Signed;
use crate::wire::{DecodeError, Reader, Writer};

/// What a member asks on `roster`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RosterAsk {
    /// Everything after this point; another run gets a full sync. Pushes follow.
    Sync {
        /// The leader's run that the member knows, 0 for none.
        run: u64,
        /// How far it knows it.
        seq: u64,
    },
    /// A new record for the asking peer. Vouchers are not served: both fields are empty.
    Renew,
}

impl RosterAsk {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Sync { run, seq } => Writer::new().u8(1).u64(*run).u64(*seq).into_vec(),
            Self::Renew => Writer::new().u8(2).lp([]).lp([]).into_vec(),
        }
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let ask = match r.u8()? {
            1 => Self::Sync {
                run: r.u64()?,
                seq: r.u64()?,
            },
            2 => {
                r.lp(0)?;
                r.lp(0)?;
                Self::Renew
            }
            other => return Err(DecodeError::unknown("roster question", other)),
        };
        r.finish()?;
        Ok(ask)
    }
}

/// A page of the roster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RosterPage {
    /// The leader's run.
    pub run: u64,
    /// Where the reader stands after this page.
    pub seq: u64,
    /// A full sync starts: drop what is not repeated until the last page.
    pub full: bool,
    /// No page follows.
    pub last: bool,
    /// Member records, new or changed.
    pub records: Vec<Signed>,
    /// Members that are gone.
    pub gone: Vec<Serial>,
}

/// What a relay answers or pushes on `roster`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RosterAnswer {
    /// Members.
    Page(RosterPage),
    /// The newest lists; two frames if they do not fit one.
    Lists {
        /// The newest revocations.
        revocations: Option<Signed>,
        /// The newest network document.
        document: Option<Signed>,
    },
    /// The renewed record.
    Record(Signed),
    /// No renewal.
    Refused,
}

impl RosterAnswer {
    /// The frame's body. Whoever fills a page holds it below [`super::MAX_LONG_FRAME`]; see [`pages`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Page(page) => encode_page(page),
            Self::Lists {
                revocations,
                document,
            } => {
                let w = write_optional(Writer::new().u8(2), revocations.as_ref());
                write_optional(w, document.as_ref()).into_vec()
            }
            Self::Record(record) => write_signed(Writer::new().u8(3), record).into_vec(),
            Self::Refused => Writer::new().u8(4).into_vec(),
        }
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let answer = match r.u8()? {
            1 => Self::Page(decode_page(&mut r)?),
            2 => Self::Lists {
                revocations: read_optional(&mut r, MAX_RECORD)?,
                document: read_optional(&mut r, MAX_RECORD)?,
            },
            3 => Self::Record(read_signed(&mut r, MAX_MEMBER_RECORD)?),
            4 => Self::Refused,
            other => return Err(DecodeError::unknown("roster answer", other)),
        };
        r.finish()?;
        Ok(answer)
    }
}

fn encode_page(page: &RosterPage) -> Vec<u8> {
    let flags = u8::from(page.full) | u8::from(page.last) << 1;
    let records = page.records.iter().take(usize::from(u16::MAX));
    let gone = page.gone.iter().take(usize::from(u16::MAX));
    let w = Writer::new()
        .u8(1)
        .u64(page.run)
        .u64(page.seq)
        .u8(flags)
        .u16(records.len() as u16);
    let w = records.fold(w, write_signed).u16(gone.len() as u16);
    gone.fold(w, |w, serial| w.u64(serial.0)).into_vec()
}

fn decode_page(r: &mut Reader<'_>) -> Result<RosterPage, DecodeError> {
    let (run, seq, flags) = (r.u64()?, r.u64()?, r.u8()?);
    if flags > 3 {
        return Err(DecodeError::unknown("roster flags", flags));
    }
    let count = r.u16()?;
    let records = (0..count)
        .map(|_| read_signed(r, MAX_MEMBER_RECORD))
        .collect::<Result<_, _>>()?;
    let count = r.u16()?;
    let gone = (0..count)
        .map(|_| r.u64().map(Serial))
        .collect::<Result<_, _>>()?;
    Ok(RosterPage {
        run,
        seq,
        full: flags & 1 != 0,
        last: flags & 2 != 0,
        records,
        gone,
    })
}

/// Cuts one long page into pages that fit a frame: the first keeps `full`, the
/// final one is the last.
#[must_use]
pub fn pages(whole: RosterPage) -> Vec<RosterPage> {
    let RosterPage {
        run,
        seq,
        full,
        last: _,
        records,
        gone,
    } = whole;
    let empty = RosterPage {
        run,
        seq,
        ..RosterPage::default()
    };
    let mut cut = Cut {
        done: Vec::new(),
        page: RosterPage {
            full,
            ..empty.clone()
        },
        used: 0,
        empty,
    };
    for record in records {
        cut.make_room(record.bytes.len() + RECORD_OVERHEAD);
        cut.page.records.push(record);
    }
    for serial in gone {
        cut.make_room(8);
        cut.page.gone.push(serial);
    }
    cut.page.last = true;
    cut.done.push(cut.page);
    cut.done
}

/// Two lengths and the signature.
const RECORD_OVERHEAD: usize = 4 + 4 + 64;
/// Bytes for records and serials in one page; kind, run, seq, flags and counts take 22.
const PAGE_ROOM: usize = MAX_LONG_FRAME - 22;

/// Pages so far, and the one being filled.
struct Cut {
    done: Vec<RosterPage>,
    page: RosterPage,
    used: usize,
    empty: RosterPage,
}

impl Cut {
    fn make_room(&mut self, size: usize) {
        if self.used + size > PAGE_ROOM {
            self.done
                .push(std::mem::replace(&mut self.page, self.empty.clone()));
            self.used = 0;
        }
        self.used += size;
    }
}
