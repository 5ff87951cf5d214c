//! Bytes in JSON: standard base64 with padding, as Kubernetes writes it.
//! For `#[serde(with = "crate::base64")]`.

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn serialize<S: Serializer>(
    bytes: &impl AsRef<[u8]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes.as_ref()))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = BASE64
        .decode(text.as_bytes())
        .map_err(|_| D::Error::custom("expected base64"))?;
    let length = bytes.len();
    T::try_from(bytes).map_err(|_| D::Error::custom(format!("{length} bytes are the wrong length")))
}
