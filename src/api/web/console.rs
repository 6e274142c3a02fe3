//! The console: a page that shows conversations while they are written. Its files
//! are in the binary, as they are in `assets/console`; it calls the REST API like
//! any other client.

use std::sync::LazyLock;

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION,
        REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use tonic::body::Body;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// Nothing that a message says can run: scripts come from here alone, none stand in
/// the page, and no text becomes HTML but in the frame of a preview, whose scripts
/// are off. Pictures from elsewhere are not fetched, since the fetching would tell.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types sandboxed-preview";

struct File {
    /// Below `/console/`; that of the page itself is empty.
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($kind:ident $($name:literal)*;)*) => {
        const FILES: &[File] = &[$($(File {
            name: $name,
            kind: $kind,
            text: include_str!(concat!("../../../assets/console/", $name)),
        }),*),*];
    };
}

files! {
    HTML "index.html";
    IMAGE "icon.svg";
    STYLE "console.css" "blocks.css";
    SCRIPT "api.js" "app.js" "blocks.js" "code.js" "composer.js" "connection.js"
        "conversation.js" "dom.js" "fold.js" "format.js" "inspector.js" "live.js" "markdown.js"
        "message.js" "sidebar.js" "tasks.js" "theme.js";
}

/// A digest of each file, so that a browser asks for it again only where it changed.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(tag).collect());

fn tag(file: &File) -> String {
    let digest = Sha256::digest(file.text);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// The console's answer; none where the request is not for one of its files.
pub(super) fn answer<B>(request: &Request<B>) -> Option<Response<Body>> {
    if request.method() != Method::GET {
        return None;
    }
    let name = match request.uri().path().strip_prefix("/console")? {
        "" => "index.html",
        "/" => return Some(redirect()),
        path => path
            .strip_prefix('/')
            .filter(|name| *name != "index.html")?,
    };
    let place = FILES.iter().position(|file| file.name == name)?;
    let (file, tag) = (&FILES[place], &TAGS[place]);
    let is_known = request
        .headers()
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::new(Full::from(file.text)))
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, file.kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, tag);
    }
    Some(response)
}

/// The page's files are named relative to its address, which has no slash at its end.
fn redirect() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let page = HeaderValue::from_static("../console");
    response.headers_mut().insert(LOCATION, page);
    response
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn get(path: &str, known: &str) -> Option<Response<Body>> {
        let request = Request::get(path).header(IF_NONE_MATCH, known);
        answer(&request.body(()).unwrap())
    }

    #[test]
    fn every_file_of_the_console_is_served() {
        for entry in fs::read_dir("assets/console").unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_served = FILES.iter().any(|file| file.name == name);
            assert!(is_served || name == "package.json", "{name}");
        }
    }

    #[test]
    fn a_browser_that_has_a_file_is_not_sent_it_again() {
        let page = get("/console", "").unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        let again = get("/console", page.headers()[ETAG].to_str().unwrap()).unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_ne!(
            page.headers()[ETAG],
            get("/console/app.js", "").unwrap().headers()[ETAG]
        );
    }

    #[test]
    fn other_paths_are_not_the_consoles() {
        for path in [
            "/",
            "/consoles",
            "/console/../x",
            "/console/package.json",
            "/console/index.html",
        ] {
            assert!(get(path, "").is_none(), "{path}");
        }
        assert_eq!(
            get("/console/", "").unwrap().headers()[LOCATION],
            "../console"
        );
    }

    #[test]
    fn nothing_stands_in_the_page_that_its_policy_forbids() {
        let page = FILES[0].text;
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"));
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script type=\"module\" src=").count()
        );
    }
}
