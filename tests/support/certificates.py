"""Authorities and certificates for tests, made by the openssl command."""

import os
import subprocess


class Authority:
    """Vouches for certificates, in a folder that is somebody else's. Its own is `file`."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.name = name
        self.file = self.path(name + ".pem")
        self.crl = self.path(name + ".crl")
        self.config = self.path(name + ".conf")
        with open(self.config, "w") as config:
            config.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.path(name + '.txt')}\n"
                         f"serial={self.path(name + '.serial')}\nnew_certs_dir={folder}\ncertificate={self.file}\n"
                         f"private_key={self.path(name + '.key')}\ndefault_md=sha256\npolicy=p\n"
                         "copy_extensions=copy\nunique_subject=no\ndefault_crl_days=30\n[p]\ncommonName=optional\n"
                         "[crl]\nauthorityKeyIdentifier=keyid\n")
        with open(self.path(name + ".txt"), "w"), open(self.path(name + ".serial"), "w") as serial:
            serial.write("1a00\n")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                     self.path(name + ".key"), "-out", self.file, "-days", "10", "-subj", f"/CN={name}")
        self.renew_crl()

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *arguments):
        result = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"openssl {' '.join(arguments)}: {result.stderr}"
        return result.stdout

    def make(self, name, names="", cn=None, days=5):
        """`name`.pem and `name`.key, for `names` ("DNS:localhost,IP:127.0.0.1"). Their paths. The files of that name
        are replaced at once, as who rotates certificates should."""
        cn = name if cn is None else cn
        new = self.path(name + ".new")
        subject = f"/CN={cn}" if cn else "/"
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                     new + ".key", "-out", new + ".csr", "-subj", subject,
                     *(["-addext", f"subjectAltName={names}"] if names else []))
        self.openssl("ca", "-batch", "-notext", "-config", self.config, "-in", new + ".csr", "-out", new + ".pem",
                     "-days", str(days))
        cert, key = self.path(name + ".pem"), self.path(name + ".key")
        os.replace(new + ".pem", cert)
        os.replace(new + ".key", key)
        return cert, key

    def revoke(self, name):
        self.openssl("ca", "-config", self.config, "-revoke", self.path(name + ".pem"))
        self.renew_crl()

    def renew_crl(self):
        # Of version 2, in DER, which every release of etcd reads.
        self.openssl("ca", "-config", self.config, "-gencrl", "-crlexts", "crl", "-out", self.crl + ".pem")
        self.openssl("crl", "-in", self.crl + ".pem", "-outform", "DER", "-out", self.crl + ".new")
        os.replace(self.crl + ".new", self.crl)
