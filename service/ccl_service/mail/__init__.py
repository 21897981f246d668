"""Mail: enrolments and sends, the Mailgun client and its webhook, suppressions, links in mail."""
