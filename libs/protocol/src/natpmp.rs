//! What a home router says of its own outside address (NAT-PMP, RFC 6886, section 3.2). Routers that know PCP only
//! (RFC 6887) answer that they do not know the version, which is no answer here.

use std::net::Ipv4Addr;

/// Where a router listens.
pub const PORT: u16 = 5351;
/// The question: version 0, opcode 0.
pub const QUESTION: [u8; 2] = [0, 0];
/// Length of the answer in bytes.
pub const ANSWER: usize = 12;

/// Version, opcode of the answer, and the result that means success.
const HEAD: [u8; 4] = [0, 128, 0, 0];

/// Why bytes say no outside address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NatPmpError {
    /// It is no answer to the question.
    #[error("expected 12 bytes of an answer of version 0 to opcode 0")]
    Malformed,
    /// The router refused, or knows no address.
    #[error("the router answers result {0}")]
    Refused(u16),
}

/// The outside address, from a router's answer: version, opcode, result (16 bits), seconds since its start (32 bits),
/// address. An address of zeros means that it has none.
///
/// # Errors
/// [`NatPmpError`]
pub fn outside_address(answer: &[u8]) -> Result<Ipv4Addr, NatPmpError> {
    let answer: &[u8; ANSWER] = answer.try_into().map_err(|_| NatPmpError::Malformed)?;
    let [version, opcode, high, low, _, _, _, _, a, b, c, d] = *answer;
    match [version, opcode, high, low] {
        HEAD => Ok(Ipv4Addr::new(a, b, c, d)),
        [0, 128, _, _] => Err(NatPmpError::Refused(u16::from_be_bytes([high, low]))),
        _ => Err(NatPmpError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [u8; ANSWER] = [0, 128, 0, 0, 0, 0, 1, 44, 100, 64, 7, 2];

    #[test]
    fn an_answer_tells_the_address() {
        assert_eq!(outside_address(&GOOD), Ok(Ipv4Addr::new(100, 64, 7, 2)));
    }

    #[test]
    fn everything_else_is_no_address() {
        let with = |at: usize, byte: u8| {
            let mut answer = GOOD;
            answer[at] = byte;
            outside_address(&answer)
        };
        assert_eq!(with(0, 1), Err(NatPmpError::Malformed), "version");
        assert_eq!(with(1, 0), Err(NatPmpError::Malformed), "a question");
        assert_eq!(with(1, 129), Err(NatPmpError::Malformed), "a mapping");
        assert_eq!(with(3, 3), Err(NatPmpError::Refused(3)));
        assert_eq!(with(2, 1), Err(NatPmpError::Refused(256)));
        let long = [GOOD.as_slice(), &[0]].concat();
        for other in [&GOOD[..0], &GOOD[..11], &long] {
            assert_eq!(outside_address(other), Err(NatPmpError::Malformed));
        }
    }
}
