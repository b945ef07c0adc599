//! Addresses: inet, cidr, macaddr. Whole addresses only: no short forms, no octal, no zone of an interface.

use super::form::{Form, Numeral};
use super::formset::FormSet;
use super::{Fit, Malformed, Reason, judged};
use crate::model::cell::Cell;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Inet,
    /// A network: no bit may be set beyond the prefix.
    Cidr,
    Macaddr,
}

/// PostgreSQL's marks of the families.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

/// The longest spelling: eight groups of four, or `::ffff:` before an IPv4 address, and `/128`.
const SPELLING_MAX: usize = 48;

pub(super) fn encode(kind: Kind, form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let text = match cell {
        Cell::Null => return Fit::Null,
        Cell::Text(text) => text,
        Cell::Integer(value) => return encode_integer(kind, form, value, out),
        Cell::Real(_) | Cell::Blob(_) => return Fit::Lost(Reason::Class),
    };
    let mut spelled = [0; SPELLING_MAX];
    let back = match kind {
        Kind::Macaddr => {
            let Some(mac) = parse_mac(text) else { return Fit::Lost(Reason::NotAnAddress) };
            out.extend_from_slice(&mac);
            Cell::Text(spell_mac(mac, &mut spelled))
        }
        Kind::Inet | Kind::Cidr => {
            let Some(block) = Block::parse(text).filter(|block| block.suits(kind)) else {
                return Fit::Lost(Reason::NotAnAddress);
            };
            block.put(kind, out);
            block.cell(kind, form, &mut spelled)
        }
    };
    judged(back, cell)
}

pub(super) fn decode<'a>(
    kind: Kind,
    form: Form,
    bytes: &[u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Cell<'a>, Malformed> {
    scratch.clear();
    scratch.resize(SPELLING_MAX, 0);
    Ok(match kind {
        Kind::Macaddr => Cell::Text(spell_mac(bytes.try_into().map_err(|_| Malformed("macaddr"))?, scratch)),
        Kind::Inet | Kind::Cidr => {
            let block = Block::read(bytes, kind).ok_or(Malformed("inet or cidr"))?;
            block.cell(kind, form, scratch)
        }
    })
}

/// Preferred forms first; the learner tries each. That an INTEGER is an address only the operator can say.
pub(super) fn forms(cell: Cell<'_>) -> FormSet {
    match cell {
        Cell::Text(_) => FormSet::from([Form::Native]),
        Cell::Null | Cell::Integer(_) | Cell::Real(_) | Cell::Blob(_) => FormSet::EMPTY,
    }
}

fn encode_integer(kind: Kind, form: Form, value: i64, out: &mut Vec<u8>) -> Fit {
    match (kind, form.numeral()) {
        (Kind::Inet, Numeral::Number) => {
            let Ok(bits) = u32::try_from(value) else { return Fit::Lost(Reason::OutOfRange) };
            Block { address: IpAddr::V4(Ipv4Addr::from_bits(bits)), prefix: 32 }.put(kind, out);
            Fit::Exact
        }
        (Kind::Inet | Kind::Cidr | Kind::Macaddr, _) => Fit::Lost(Reason::Class),
    }
}

/// An address and how many of its bits name the network.
#[derive(Clone, Copy)]
struct Block {
    address: IpAddr,
    prefix: u8,
}

impl Block {
    fn parse(text: &[u8]) -> Option<Block> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = width(address);
        let prefix = match prefix {
            None => width,
            // A number with a sign or a leading zero is another spelling that nobody wrote.
            Some(prefix) => {
                prefix.parse().ok().filter(|bits: &u8| *bits <= width && bits.to_string() == prefix)?
            }
        };
        Some(Block { address, prefix })
    }

    fn suits(self, kind: Kind) -> bool {
        match (kind, self.address) {
            (Kind::Inet | Kind::Macaddr, _) => true,
            (Kind::Cidr, IpAddr::V4(address)) => {
                address.to_bits().checked_shl(u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (Kind::Cidr, IpAddr::V6(address)) => {
                address.to_bits().checked_shl(u32::from(self.prefix)).unwrap_or(0) == 0
            }
        }
    }

    fn put(self, kind: Kind, out: &mut Vec<u8>) {
        let is_cidr = u8::from(kind == Kind::Cidr);
        match self.address {
            IpAddr::V4(address) => {
                out.extend_from_slice(&[FAMILY_V4, self.prefix, is_cidr, 4]);
                out.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                out.extend_from_slice(&[FAMILY_V6, self.prefix, is_cidr, 16]);
                out.extend_from_slice(&address.octets());
            }
        }
    }

    fn read(bytes: &[u8], kind: Kind) -> Option<Block> {
        let ([family, prefix, is_cidr, length], octets) = bytes.split_first_chunk()?;
        let address = match (*family, *length) {
            (FAMILY_V4, 4) => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
            (FAMILY_V6, 16) => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
            _ => return None,
        };
        let block = Block { address, prefix: *prefix };
        (*prefix <= width(address) && *is_cidr == u8::from(kind == Kind::Cidr)).then_some(block)
    }

    /// As PostgreSQL shows it: a single address without its prefix in inet, never in cidr.
    fn cell(self, kind: Kind, form: Form, out: &mut [u8]) -> Cell<'_> {
        let single = kind == Kind::Inet && self.prefix == width(self.address);
        match (self.address, form.numeral()) {
            (IpAddr::V4(address), Numeral::Number) if single => Cell::Integer(i64::from(address.to_bits())),
            _ if single => Cell::Text(spell(out, format_args!("{}", self.address))),
            _ => Cell::Text(spell(out, format_args!("{}/{}", self.address, self.prefix))),
        }
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Six pairs of hexadecimal digits, between them `:` or `-` throughout.
fn parse_mac(text: &[u8]) -> Option<[u8; 6]> {
    let separator = *text.get(2).filter(|byte| matches!(byte, b':' | b'-'))?;
    let mut mac = [0; 6];
    let mut pairs = text.split(|byte| *byte == separator);
    for byte in &mut mac {
        let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit))?;
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    pairs.next().is_none().then_some(mac)
}

fn spell_mac([a, b, c, d, e, f]: [u8; 6], out: &mut [u8]) -> &[u8] {
    spell(out, format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
}

fn spell<'a>(out: &'a mut [u8], text: std::fmt::Arguments<'_>) -> &'a [u8] {
    let mut rest = &mut *out;
    rest.write_fmt(text).expect("no address is spelled longer");
    let free = rest.len();
    &out[..out.len() - free]
}

#[cfg(test)]
mod tests {
    use super::super::law::check;
    use super::*;
    use crate::canon::{Codec, Zone};
    use crate::model::types::Type;

    #[test]
    fn addresses_come_back_as_postgresql_shows_them() {
        let exact = |hex| (Fit::Exact, hex);
        let spelling = |hex| (Fit::Kept(Reason::Spelling), hex);
        let lost = (Fit::Lost(Reason::NotAnAddress), "");
        for (ty, text, expected) in [
            (Type::Inet, "10.0.0.1", exact("022000040a000001")),
            (Type::Inet, "10.1.2.3/8", exact("020800040a010203")),
            (Type::Inet, "10.0.0.1/32", spelling("022000040a000001")),
            (Type::Inet, "fe80::1", exact("03800010fe800000000000000000000000000001")),
            (Type::Inet, "FE80::1", spelling("03800010fe800000000000000000000000000001")),
            (Type::Inet, "1::2/64", exact("0340001000010000000000000000000000000002")),
            (Type::Inet, "::ffff:10.0.0.1", exact("0380001000000000000000000000ffff0a000001")),
            (Type::Inet, "10.0.0.01", lost),
            (Type::Inet, "10.1", lost),
            (Type::Inet, "10.0.0.1/33", lost),
            (Type::Inet, "10.0.0.1/08", lost),
            (Type::Inet, "10.0.0.1/+8", lost),
            (Type::Inet, "fe80::1%eth0", lost),
            (Type::Inet, " 10.0.0.1", lost),
            (Type::Inet, "", lost),
            (Type::Cidr, "10.0.0.0/8", exact("020801040a000000")),
            (Type::Cidr, "10.0.0.1/32", exact("022001040a000001")),
            (Type::Cidr, "10.0.0.1", spelling("022001040a000001")),
            (Type::Cidr, "fe80::/10", exact("030a0110fe800000000000000000000000000000")),
            (Type::Cidr, "0.0.0.0/0", exact("0200010400000000")),
            (Type::Cidr, "10.0.0.1/8", lost),
            (Type::Cidr, "fe80::1/10", lost),
            (Type::Macaddr, "08:00:2b:01:02:03", exact("08002b010203")),
            (Type::Macaddr, "08-00-2B-01-02-03", spelling("08002b010203")),
            (Type::Macaddr, "08:00:2b:01:02", lost),
            (Type::Macaddr, "08:00-2b:01:02:03", lost),
            (Type::Macaddr, "08:00:2b:01:02:+3", lost),
        ] {
            check(&ty, Form::Native, Cell::Text(text.as_bytes()), expected);
        }
    }

    #[test]
    fn the_empty_text_stands_for_null_where_the_operator_says_so_and_the_type_has_none() {
        let form = Form::EmptyNull;
        for ty in [
            Type::Inet,
            Type::Cidr,
            Type::Macaddr,
            Type::Uuid,
            Type::Date,
            Type::Timestamptz(6),
            Type::Int4,
            Type::Json,
        ] {
            check(&ty, form, Cell::Text(b""), (Fit::Null, ""));
            check(&ty, form, Cell::Null, (Fit::Lost(Reason::Class), ""));
            assert_eq!(Codec::new(ty, form, Zone::Utc).nothing(), Cell::Text(b""));
        }
        for ty in [Type::Text, Type::Varchar(Some(3)), Type::Bytea, Type::Enum([String::new()].into())] {
            check(&ty, form, Cell::Null, (Fit::Null, ""));
            assert_eq!(Codec::new(ty, form, Zone::Utc).nothing(), Cell::Null);
        }
        let label = Type::Enum(["a".to_owned()].into());
        check(&label, form, Cell::Text(b""), (Fit::Null, ""));
        check(&label, form, Cell::Text(b"a"), (Fit::Exact, "61"));
        check(&Type::Text, form, Cell::Text(b""), (Fit::Exact, ""));
        check(&Type::Inet, form, Cell::Text(b"10.0.0.1"), (Fit::Exact, "022000040a000001"));
        check(&Type::Inet, form, Cell::Text(b" "), (Fit::Lost(Reason::NotAnAddress), ""));
        check(&Type::Int4, form, Cell::Integer(7), (Fit::Exact, "00000007"));
    }

    #[test]
    fn an_integer_is_an_address_only_when_the_operator_says_so() {
        check(&Type::Inet, Form::Number, Cell::Integer(167_772_161), (Fit::Exact, "022000040a000001"));
        check(&Type::Inet, Form::Number, Cell::Integer(1 << 32), (Fit::Lost(Reason::OutOfRange), ""));
        check(&Type::Inet, Form::Native, Cell::Integer(167_772_161), (Fit::Lost(Reason::Class), ""));
        check(
            &Type::Inet,
            Form::Number,
            Cell::Text(b"10.0.0.1"),
            (Fit::Kept(Reason::Class), "022000040a000001"),
        );
    }
}
