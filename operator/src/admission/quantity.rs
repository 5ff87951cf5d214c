//! Kubernetes resource quantities, read far enough to compare two of them.
//!
//! Source: k8s.io/apimachinery/pkg/api/resource, the grammar in `quantity.go`.

/// The value of a quantity such as `100m` or `64Mi`, in thousandths of its unit and rounded up;
/// `None` when it is not a quantity, is negative, or is too large to be one of a container.
#[must_use]
pub fn milli(text: &str) -> Option<u128> {
    let digits = text.len()
        - text
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
            .len();
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty())
        || whole.len() > 18
        || fraction.len() > 9
        || fraction.contains('.')
    {
        return None;
    }
    let nano: u128 = format!("{whole}{fraction:0<9}").parse().ok()?;
    let (multiply, divide) = scale(suffix)?;
    Some(
        nano.checked_mul(multiply)?
            .div_ceil(divide.checked_mul(1_000_000)?),
    )
}

/// A suffix as a fraction.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        _ => return exponent(suffix),
    })
}

/// The decimal exponent form: `e3`, `E-2`.
fn exponent(suffix: &str) -> Option<(u128, u128)> {
    let text = suffix.strip_prefix(['e', 'E'])?;
    let power: i32 = text.parse().ok()?;
    let size = 10u128.checked_pow(power.unsigned_abs())?;
    (size <= 1_000_000_000_000).then_some(if power < 0 { (1, size) } else { (size, 1) })
}

#[cfg(test)]
mod tests {
    use super::milli;

    #[test]
    fn quantities_compare_as_the_api_server_compares_them() {
        let cases = [
            ("0", Some(0)),
            ("1", Some(1_000)),
            ("100m", Some(100)),
            ("0.1", Some(100)),
            (".5", Some(500)),
            ("1.", Some(1_000)),
            ("64Mi", Some(64 * 1024 * 1024 * 1000)),
            ("64M", Some(64_000_000_000)),
            ("1e3", Some(1_000_000)),
            ("5E-1", Some(500)),
            ("1n", Some(1)),
        ];
        for (text, expected) in cases {
            assert_eq!(milli(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity_of_a_container_is_refused() {
        for text in [
            "",
            ".",
            "-1",
            "+1",
            "1 ",
            "1mi",
            "Mi",
            "1.2.3",
            "e",
            "1e",
            "1e99",
            "1_0",
            "9999999999999999999",
            "one",
        ] {
            assert_eq!(milli(text), None, "{text}");
        }
    }
}
