import java.io.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import javax.net.ssl.*;

// Both peers of TLS connections, with everything that JSSE was ever told to refuse.
// Arguments: files with a PKCS #8 key and a certificate, both DER. It prints the
// server's port. Then each line of stdin, "PORT PROTOCOLS SUITE", lets the client connect to
// that port, and is answered by "ok" or what went wrong.
class Peer {
    public static void main(String[] args) throws Exception {
        for (String p : new String[] {"jdk.tls.disabledAlgorithms", "jdk.tls.legacyAlgorithms", "jdk.certpath.disabledAlgorithms"})
            Security.setProperty(p, "");
        PrivateKey key = KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Files.readAllBytes(Path.of(args[0]))));
        java.security.cert.Certificate cert = CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(Files.readAllBytes(Path.of(args[1]))));
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("k", key, new char[0], new java.security.cert.Certificate[] {cert});
        KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
        keys.init(store, new char[0]);
        TrustManager[] trust = {new X509TrustManager() {
            public void checkClientTrusted(X509Certificate[] c, String a) {}
            public void checkServerTrusted(X509Certificate[] c, String a) {}
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        }};
        SSLContext server = SSLContext.getInstance("TLS");
        server.init(keys.getKeyManagers(), trust, null);
        SSLServerSocket listener = (SSLServerSocket) server.getServerSocketFactory().createServerSocket(0);
        listener.setEnabledProtocols(new String[] {"SSLv2Hello", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"});
        listener.setEnabledCipherSuites(listener.getSupportedCipherSuites());
        System.out.println(listener.getLocalPort());
        Thread echo = new Thread(() -> {
            for (;;) {
                try (SSLSocket s = (SSLSocket) listener.accept()) {
                    s.getInputStream().transferTo(s.getOutputStream());
                } catch (IOException e) {
                    System.err.println("server: " + e);
                }
            }
        });
        echo.setDaemon(true);
        echo.start();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null;) {
            String[] f = line.split(" ");
            SSLContext client = SSLContext.getInstance("TLS");
            client.init(null, trust, null);
            try (SSLSocket s = (SSLSocket) client.getSocketFactory().createSocket("127.0.0.1", Integer.parseInt(f[0]))) {
                s.setEnabledProtocols(f[1].split(","));
                s.setEnabledCipherSuites(new String[] {f[2]});
                for (int n : new int[] {1, 100, 3000}) {
                    byte[] b = "x".repeat(n).getBytes();
                    s.getOutputStream().write(b);
                    if (!java.util.Arrays.equals(b, s.getInputStream().readNBytes(n)))
                        throw new IOException("no echo");
                }
                System.out.println("ok");
            } catch (Exception e) {
                System.out.println(e);
            }
        }
    }
}
