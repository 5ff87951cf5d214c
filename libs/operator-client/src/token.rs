//! The projected service account token: read again at each use, because the kubelet replaces it.

use std::path::Path;

use peerup_protocol::secret::SecretText;
use tokio::io::AsyncReadExt;

use crate::error::LocalError;

/// Longest token read; real ones have about 1 KiB.
const MAX_TOKEN: u64 = 16 * 1024;

pub(crate) async fn read(path: &Path) -> Result<SecretText, LocalError> {
    let failed = |reason: String| LocalError::Token {
        path: path.to_owned(),
        reason,
    };
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    file.take(MAX_TOKEN)
        .read_to_string(&mut text)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(failed("the file is empty".to_owned()));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failed("the file holds more than a token".to_owned()));
    }
    Ok(SecretText::from(token.to_owned()))
}
