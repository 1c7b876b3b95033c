//! Reading free text: search keys, names, and phone numbers among answers.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Lower-case letters that Unicode does not take apart into a plain one and a mark, and how they
/// are spelled by who does not have them on the keyboard. `filter.js` has the same, and a
/// migration has brought what was stored before to this form: a letter more needs another one.
const PLAIN: [(char, &str); 22] = [
    ('ß', "ss"),
    ('æ', "ae"),
    ('œ', "oe"),
    ('ø', "o"),
    ('đ', "d"),
    ('ð', "d"),
    ('ħ', "h"),
    ('ı', "i"),
    ('ł', "l"),
    ('ŋ', "n"),
    ('ŧ', "t"),
    ('þ', "th"),
    ('ə', "e"),
    ('ɓ', "b"),
    ('ɖ', "d"),
    ('ɗ', "d"),
    ('ɛ', "e"),
    ('ɔ', "o"),
    ('ƙ', "k"),
    ('ɲ', "n"),
    ('ƴ', "y"),
    // The same letter at the end of a word.
    ('ς', "σ"),
];

/// The form in which search compares text: lower case, without accents, in plain letters.
#[must_use]
pub fn search_key(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let unmarked = text.nfkd().filter(|c| !is_combining_mark(*c));
    let mut key = String::with_capacity(text.len());
    for c in unmarked.flat_map(char::to_lowercase) {
        match PLAIN.iter().find(|(letter, _)| *letter == c) {
            Some((_, plain)) => key.push_str(plain),
            None => key.push(c),
        }
    }
    key
}

/// Splits a name typed into one field at its first white space: `("Mary", Some("Ann Smith"))`.
#[must_use]
pub fn split_name(name: &str) -> (String, Option<String>) {
    let name = name.trim();
    match name.split_once(char::is_whitespace) {
        Some((first, rest)) => (first.to_owned(), Some(rest.trim().to_owned())),
        None => (name.to_owned(), None),
    }
}

/// Whether a form's question speaks of a phone number, in English, French, German or Spanish.
#[must_use]
pub fn speaks_of_phone(question: &str) -> bool {
    let key = search_key(question);
    let words = [
        "phone", "mobile", "telefon", "whatsapp", "portable", "handy", "movil",
    ];
    words.iter().any(|word| key.contains(word))
}

/// Whether a form's question asks for the invitee's own phone number, and for nothing else.
#[must_use]
pub fn asks_for_phone(question: &str) -> bool {
    matches!(
        &*asked_for(question),
        "phone"
            | "phone number"
            | "mobile"
            | "mobile phone"
            | "mobile number"
            | "mobile phone number"
            | "cell phone"
            | "cell phone number"
            | "telephone"
            | "telephone number"
            | "numero de telephone"
            | "telefon"
            | "telefonnummer"
            | "handynummer"
            | "mobilnummer"
            | "telefono"
            | "numero de telefono"
    )
}

/// Whether a form's question asks for the invitee's own e-mail address, and for nothing else.
#[must_use]
pub fn asks_for_email(question: &str) -> bool {
    let key = asked_for(question).replace("e-mail", "email");
    let key = ["work ", "business ", "company ", "professional "]
        .iter()
        .find_map(|which| key.strip_prefix(which))
        .unwrap_or(&key);
    matches!(
        key,
        "email"
            | "email address"
            | "mail"
            | "email-adresse"
            | "mailadresse"
            | "adresse email"
            | "adresse mail"
            | "courriel"
            | "correo"
            | "correo electronico"
    )
}

/// Whether a form's question asks for the invitee's company, not for something about one.
#[must_use]
pub fn asks_for_company(question: &str) -> bool {
    let key = asked_for(question);
    let begins = [
        "which company",
        "what company",
        "company name",
        "business name",
    ];
    begins.iter().any(|begin| key.starts_with(begin))
        || matches!(
            &*key,
            "company"
                | "business"
                | "employer"
                | "organization"
                | "organization name"
                | "organisation"
                | "organisation name"
                | "entreprise"
                | "societe"
                | "firma"
                | "firmenname"
                | "unternehmen"
                | "empresa"
        )
}

/// Whether a form's question speaks of a company, and of nothing else that could be told of one.
#[must_use]
pub fn speaks_of_company(question: &str) -> bool {
    let key = search_key(question);
    let company = [
        "company",
        "organization",
        "organisation",
        "entreprise",
        "societe",
        "firma",
        "unternehmen",
        "empresa",
    ];
    let mut words = key.split(|c: char| !c.is_alphanumeric());
    company.iter().any(|word| key.contains(word)) && !words.any(|word| ELSE.contains(&word))
}

/// How large a company is, what one does there, how to reach it, what one thinks or knows of ours.
const ELSE: [&str; 41] = [
    "size",
    "how",
    "why",
    "when",
    "where",
    "website",
    "url",
    "role",
    "title",
    "position",
    "industry",
    "sector",
    "email",
    "mail",
    "phone",
    "address",
    "about",
    "our",
    "may",
    "do",
    "does",
    "number",
    "employees",
    "revenue",
    "type",
    "describe",
    "taille",
    "combien",
    "comment",
    "notre",
    "site",
    "grosse",
    "mitarbeiter",
    "branche",
    "wie",
    "unser",
    "unsere",
    "tamano",
    "cuantos",
    "como",
    "nuestra",
];

/// What a question asks for, in the form of search and without the words around it: `company` of
/// "What is the name of your company?".
fn asked_for(question: &str) -> String {
    let key = search_key(question);
    let mut key = key.trim().trim_end_matches(['?', ':', '*', '.', ' ']);
    while let Some(rest) = AROUND.iter().find_map(|word| key.strip_prefix(word)) {
        key = rest;
    }
    key.to_owned()
}

/// What stands before that.
const AROUND: [&str; 22] = [
    "what is ",
    "what's ",
    "please enter ",
    "please share ",
    "enter ",
    "the name of ",
    "name of ",
    "your ",
    "the ",
    "quel est ",
    "quelle est ",
    "le nom de ",
    "nom de ",
    "nom du ",
    "votre ",
    "l'",
    "la ",
    "name der ",
    "ihre ",
    "ihr ",
    "nombre de ",
    "su ",
];

/// Which part of a name a form's question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamePart {
    /// The given name.
    First,
    /// The family name.
    Last,
    /// Both in one field.
    Full,
}

/// Reads which part of the invitee's own name a question asks for, if any.
#[must_use]
pub fn asks_for_name(question: &str) -> Option<NamePart> {
    let key = search_key(question);
    let key = key.trim().trim_end_matches(['?', ':', '*', ' ']);
    let key = key
        .strip_prefix("your ")
        .or_else(|| key.strip_prefix("what is your "))
        .unwrap_or(key);
    match key {
        "first name" | "given name" | "prenom" | "vorname" => Some(NamePart::First),
        "last name" | "family name" | "surname" | "nom" | "nom de famille" | "nachname" => {
            Some(NamePart::Last)
        }
        "name" | "full name" | "nom complet" => Some(NamePart::Full),
        _ => None,
    }
}

/// Reads a phone number from an answer: 7 to 15 digits with the usual punctuation, nothing else.
/// When the question did not ask for one (`asked` is false) it must begin with `+`, so that an
/// order number or a date is not mistaken for a phone.
#[must_use]
pub fn phone_in(answer: &str, asked: bool) -> Option<&str> {
    let answer = answer.trim();
    let digits = answer.chars().filter(char::is_ascii_digit).count();
    let plain = answer
        .chars()
        .all(|c| c.is_ascii_digit() || " +()-./\u{a0}".contains(c));
    let marked = asked || answer.starts_with('+');
    (plain && marked && (7..=15).contains(&digits)).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_ignores_case_and_accents() {
        assert_eq!(search_key("Émile ZOLÀ"), "emile zola");
        assert_eq!(search_key("İzmir"), "izmir");
    }

    #[test]
    fn search_knows_letters_that_unicode_does_not_take_apart() {
        for (name, key) in [
            ("Søren", "soren"),
            ("Łukasz", "lukasz"),
            ("ĐẶNG", "dang"),
            ("Ægir", "aegir"),
            ("Œuvre", "oeuvre"),
            ("Işık", "isik"),
            ("Þór", "thor"),
            ("Höfði", "hofdi"),
            ("Straße", "strasse"),
            ("STRAẞE", "strasse"),
            ("Əliyev", "eliyev"),
            ("Ɗangote", "dangote"),
        ] {
            assert_eq!(search_key(name), key);
        }
        assert_eq!(search_key("ΚΩΣΤΑΣ"), search_key("Κώστας"));
    }

    #[test]
    fn one_field_names_are_split_at_the_first_space() {
        assert_eq!(split_name("Pat"), ("Pat".into(), None));
        assert_eq!(
            split_name(" Mary  Ann Smith "),
            ("Mary".into(), Some("Ann Smith".into()))
        );
    }

    #[test]
    fn phones_are_told_from_other_numbers() {
        assert_eq!(phone_in(" +1 555 0100 ", false), Some("+1 555 0100"));
        assert_eq!(phone_in("555-010-0199", false), None);
        assert_eq!(phone_in("555-010-0199", true), Some("555-010-0199"));
        assert_eq!(phone_in("call me", true), None);
        assert_eq!(phone_in("2026-11-20 08:00", true), None);
    }

    #[test]
    fn questions_are_recognized_in_several_languages() {
        assert!(speaks_of_phone("Numéro de téléphone portable"));
        for own in [
            "Your phone number",
            "Mobile number:",
            "Téléphone",
            "Telefonnummer *",
        ] {
            let own = own.replace("Téléphone", "Numéro de téléphone");
            assert!(asks_for_phone(&own), "{own}");
        }
        assert!(!asks_for_phone("Phone number of your manager"));
        for own in [
            "Email",
            "Your e-mail address",
            "Work e-mail",
            "Adresse e-mail",
            "Correo electrónico",
        ] {
            assert!(asks_for_email(own), "{own}");
        }
        assert!(!asks_for_email("Referrer's email"));
        assert_eq!(
            asks_for_name("What is your first name?"),
            Some(NamePart::First)
        );
        assert_eq!(asks_for_name("Name of your dog"), None);
    }

    #[test]
    fn a_question_about_a_company_does_not_ask_for_it() {
        for asks in [
            "Company",
            "Company name *",
            "What is the name of your business?",
            "Which company are you with?",
            "Your organisation:",
            "Votre société ?",
            "Nom de l'entreprise",
            "Name der Firma",
            "Nombre de la empresa",
        ] {
            assert!(asks_for_company(asks), "{asks}");
        }
        for other in [
            "How did you hear about our company?",
            "Company size",
            "May our company contact you by e-mail?",
            "What is your role at the company?",
            "Company website",
        ] {
            assert!(
                !asks_for_company(other) && !speaks_of_company(other),
                "{other}"
            );
        }
        for speaks in [
            "Company (optional)",
            "Company / Organization",
            "Organization / Company name",
            "Please provide your company name",
            "Your company's name",
            "Which organization are you with?",
            "Unternehmen / Firma",
        ] {
            assert!(speaks_of_company(speaks), "{speaks}");
        }
    }
}
