//! Bodies of frames on admitted and member streams. On the stream each stands
//! behind a u16 length.

use crate::UnixTime;
use crate::id::{PeerName, Serial};
use crate::record::Signed;
use crate::report::MAX_REPORT;
use crate::wire::{DecodeError, Reader, Writer};

/// Longest frame of most protocols, in bytes.
pub const MAX_FRAME: usize = 4096;
/// Longest frame of `member` and `roster`, in bytes.
pub const MAX_LONG_FRAME: usize = 65_535;
/// Seconds for one frame.
pub const FRAME_SECONDS: u64 = 5;
/// Seconds for one exchange.
pub const EXCHANGE_SECONDS: u64 = 12;
/// Longest record that a roster or a member frame carries.
const MAX_RECORD: usize = MAX_LONG_FRAME - 128;
/// Longest member record: label, net, serial, PeerId, name, subject, times.
const MAX_MEMBER_RECORD: usize = 512;

fn write_signed(w: Writer, signed: &Signed) -> Writer {
    w.lp(&signed.bytes).lp(signed.signature)
}

fn read_signed(r: &mut Reader<'_>, max: usize) -> Result<Signed, DecodeError> {
    Ok(Signed {
        bytes: r.lp(max)?.to_vec(),
        signature: r.signature()?,
    })
}

fn write_optional(w: Writer, signed: Option<&Signed>) -> Writer {
    match signed {
        Some(signed) => write_signed(w, signed),
        None => w.lp([]).lp([]),
    }
}

fn read_optional(r: &mut Reader<'_>, max: usize) -> Result<Option<Signed>, DecodeError> {
    let bytes = r.lp(max)?.to_vec();
    match (bytes.is_empty(), r.lp_array()?) {
        (true, None) => Ok(None),
        (false, Some(signature)) => Ok(Some(Signed { bytes, signature })),
        (true, Some(_)) | (false, None) => Err(DecodeError::invalid(
            "a signed record",
            "have bytes and a signature, or neither",
        )),
    }
}

/// First frame of both sides on `member`: who I am, and which revocations I know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHello {
    /// A member record, or a relay's network document.
    pub credential: Signed,
    /// Epoch of the sender's revocation list.
    pub epoch: u64,
    /// When the sender's revocation list was signed.
    pub issued: UnixTime,
}

impl MemberHello {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write_signed(Writer::new(), &self.credential)
            .u64(self.epoch)
            .u64(self.issued)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let hello = Self {
            credential: read_signed(&mut r, MAX_RECORD)?,
            epoch: r.u64()?,
            issued: r.u64()?,
        };
        r.finish()?;
        Ok(hello)
    }
}

/// Second frame of the side that knows the newer revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberLists {
    /// The list.
    pub revocations: Signed,
}

impl MemberLists {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write_signed(Writer::new(), &self.revocations).into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let lists = Self {
            revocations: read_signed(&mut r, MAX_RECORD)?,
        };
        r.finish()?;
        Ok(lists)
    }
}

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
    /// The frame's body. Whoever fills a page holds it below [`MAX_LONG_FRAME`]; see [`pages`].
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
    const BUDGET: usize = MAX_LONG_FRAME - 64;
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
        full: false,
        last: false,
        records: Vec::new(),
        gone: Vec::new(),
    };
    let mut pages = vec![RosterPage {
        full,
        ..empty.clone()
    }];
    let mut used = 0;
    let mut room = |pages: &mut Vec<RosterPage>, size: usize| {
        if used + size > BUDGET {
            pages.push(empty.clone());
            used = 0;
        }
        used += size;
    };
    for record in records {
        room(&mut pages, record.bytes.len() + 72);
        pages
            .last_mut()
            .into_iter()
            .for_each(|page| page.records.push(record.clone()));
    }
    for serial in gone {
        room(&mut pages, 8);
        pages
            .last_mut()
            .into_iter()
            .for_each(|page| page.gone.push(serial));
    }
    pages
        .last_mut()
        .into_iter()
        .for_each(|page| page.last = true);
    pages
}

/// A report of a peer outside the cluster, on `report`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFrame {
    /// When it was made; must grow.
    pub time: UnixTime,
    /// The report, the exact bytes that are signed.
    pub json: Vec<u8>,
    /// The peer's signature over [`crate::message::report`].
    pub signature: [u8; 64],
}

impl ReportFrame {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u64(self.time)
            .lp(&self.json)
            .lp(self.signature)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let frame = Self {
            time: r.u64()?,
            json: r.lp(MAX_REPORT)?.to_vec(),
            signature: r.signature()?,
        };
        r.finish()?;
        Ok(frame)
    }
}

/// Which of a relay's STUN ports sends the nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeFrom {
    /// The one that the peer has spoken to.
    MainPort = 0,
    /// The other one.
    OtherPort = 1,
}

/// A wish on `probe`: send this nonce to my address, at this port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAsk {
    /// What to send.
    pub nonce: [u8; 16],
    /// The peer's observed UDP port.
    pub port: u16,
    /// From where.
    pub from: ProbeFrom,
}

impl ProbeAsk {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .bytes(self.nonce)
            .u16(self.port)
            .u8(self.from as u8)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let (nonce, port) = (r.array()?, r.u16()?);
        let from = match r.u8()? {
            0 => ProbeFrom::MainPort,
            1 => ProbeFrom::OtherPort,
            other => return Err(DecodeError::unknown("probe port", other)),
        };
        r.finish()?;
        Ok(Self { nonce, port, from })
    }
}

/// What the relay says to a [`ProbeAsk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// The nonce is on its way.
    Sent = 0,
    /// This relay's address is not what the peer would see.
    Untestable = 1,
    /// Asked too often.
    Limited = 2,
}

impl ProbeAnswer {
    /// The frame's body.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        vec![self as u8]
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let answer = match r.u8()? {
            0 => Self::Sent,
            1 => Self::Untestable,
            2 => Self::Limited,
            other => return Err(DecodeError::unknown("probe answer", other)),
        };
        r.finish()?;
        Ok(answer)
    }
}

/// What a joiner asks for inside the handshake (M3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The name it would like, at most 59 bytes.
    pub name: PeerName,
    /// The code key's signature over [`crate::message::join`].
    pub proof: [u8; 64],
    /// The identity's signature over [`crate::message::join_identity`].
    pub identity: [u8; 64],
}

impl JoinRequest {
    /// The plain request. Vouchers are not served: the field is empty.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .lp(&self.name)
            .lp([])
            .lp(self.proof)
            .lp(self.identity)
            .into_vec()
    }

    /// Reads a plain request.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let name = PeerName::from_bytes(r.lp(PeerName::MAX_REQUEST)?)?;
        r.lp(0)?;
        let request = Self {
            name,
            proof: r.signature()?,
            identity: r.signature()?,
        };
        r.finish()?;
        Ok(request)
    }
}

/// What a joiner gets inside the handshake (M4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinResponse {
    /// The signed member record.
    pub record: Signed,
    /// The network's key; the joiner checks it against the code.
    pub network_key: [u8; 32],
}

impl JoinResponse {
    /// The plain response.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write_signed(Writer::new(), &self.record)
            .lp(self.network_key)
            .into_vec()
    }

    /// Reads a plain response.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let record = read_signed(&mut r, MAX_MEMBER_RECORD)?;
        let network_key = r.lp_array()?.ok_or(DecodeError::Truncated)?;
        r.finish()?;
        Ok(Self {
            record,
            network_key,
        })
    }
}
