package clipper.keyhook;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/**
 * Puts in front of a method's code a call of
 * ((BiConsumer) ClassLoader.getSystemClassLoader().loadClass(name).newInstance()).accept(first, second)
 * with its first two arguments: a class of the platform can name no other
 * (class file format: JVMS chapter 4). Only for methods that run straight on:
 * no exception table and no stack map, whose addresses would have to be moved.
 */
final class ClassPatch {
    private final byte[] file;
    private final DataInputStream in;
    private final ByteArrayOutputStream constants = new ByteArrayOutputStream();
    private final DataOutputStream pool = new DataOutputStream(constants);
    private final Map<Integer, String> strings = new HashMap<>();
    private int count;

    ClassPatch(byte[] file) {
        this.file = file;
        this.in = new DataInputStream(new ByteArrayInputStream(file));
    }

    private int at() throws IOException {
        return file.length - in.available();
    }

    byte[] prepend(String method, String descriptorPrefix, String consumer) throws IOException {
        in.skipBytes(8);
        count = in.readUnsignedShort();
        readConstants();
        int poolEnd = at();
        byte[] call = call(consumer);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.write(file, 0, 8);
        out.writeShort(count);
        out.write(file, 10, poolEnd - 10);
        out.write(constants.toByteArray());
        int copied = poolEnd;

        in.skipBytes(6);
        in.skipBytes(2 * in.readUnsignedShort()); // interfaces
        for (int fields = in.readUnsignedShort(); fields > 0; fields--) {
            in.skipBytes(6);
            for (int a = in.readUnsignedShort(); a > 0; a--) {
                in.skipBytes(2);
                in.skipBytes(in.readInt());
            }
        }
        for (int methods = in.readUnsignedShort(); methods > 0; methods--) {
            in.skipBytes(2);
            boolean hit = method.equals(strings.get(in.readUnsignedShort()));
            hit &= String.valueOf(strings.get(in.readUnsignedShort())).startsWith(descriptorPrefix);
            for (int a = in.readUnsignedShort(); a > 0; a--) {
                String attribute = strings.get(in.readUnsignedShort());
                int length = in.readInt(), start = at();
                if (hit && "Code".equals(attribute)) {
                    out.write(file, copied, start - 4 - copied);
                    patchCode(out, length, start, call);
                    copied = start + length;
                }
                in.skipBytes(start + length - at());
            }
        }
        if (copied == poolEnd) {
            throw new IOException("no such method");
        }
        out.write(file, copied, file.length - copied);
        return bytes.toByteArray();
    }

    private void patchCode(DataOutputStream out, int length, int start, byte[] call) throws IOException {
        int stack = in.readUnsignedShort(), locals = in.readUnsignedShort(), size = in.readInt(), code = at();
        in.skipBytes(size);
        if (in.readUnsignedShort() != 0) {
            throw new IOException("the method has exception handlers");
        }
        int rest = at();
        for (int a = in.readUnsignedShort(); a > 0; a--) {
            if ("StackMapTable".equals(strings.get(in.readUnsignedShort()))) {
                throw new IOException("the method has branches");
            }
            in.skipBytes(in.readInt());
        }
        out.writeInt(length + call.length);
        out.writeShort(Math.max(stack, 3));
        out.writeShort(locals);
        out.writeInt(size + call.length);
        out.write(call);
        out.write(file, code, size);
        out.writeShort(0);
        out.write(file, rest, start + length - rest);
    }

    private void readConstants() throws IOException {
        for (int i = 1; i < count; i++) {
            int tag = in.readUnsignedByte();
            switch (tag) {
                case 1: strings.put(i, in.readUTF()); break;
                case 5: case 6: in.skipBytes(8); i++; break; // take two entries
                case 7: case 8: case 16: case 19: case 20: in.skipBytes(2); break;
                case 15: in.skipBytes(3); break;
                case 3: case 4: case 9: case 10: case 11: case 12: case 17: case 18: in.skipBytes(4); break;
                default: throw new IOException("constant of unknown tag " + tag);
            }
        }
    }

    private int utf8(String s) throws IOException {
        pool.writeByte(1);
        pool.writeUTF(s);
        return count++;
    }

    private int entry(int tag, int... refs) throws IOException {
        pool.writeByte(tag);
        for (int r : refs) {
            pool.writeShort(r);
        }
        return count++;
    }

    private int classRef(String name) throws IOException {
        return entry(7, utf8(name));
    }

    private int methodRef(int tag, String owner, String name, String descriptor) throws IOException {
        int c = classRef(owner);
        int n = utf8(name), d = utf8(descriptor);
        return entry(tag, c, entry(12, n, d));
    }

    private byte[] call(String consumer) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream code = new DataOutputStream(bytes);
        code.writeByte(0xb8); // invokestatic
        code.writeShort(methodRef(10, "java/lang/ClassLoader", "getSystemClassLoader", "()Ljava/lang/ClassLoader;"));
        code.writeByte(0x13); // ldc_w
        code.writeShort(entry(8, utf8(consumer)));
        code.writeByte(0xb6); // invokevirtual
        code.writeShort(methodRef(10, "java/lang/ClassLoader", "loadClass", "(Ljava/lang/String;)Ljava/lang/Class;"));
        code.writeByte(0xb6);
        code.writeShort(methodRef(10, "java/lang/Class", "newInstance", "()Ljava/lang/Object;"));
        code.writeByte(0xc0); // checkcast
        code.writeShort(classRef("java/util/function/BiConsumer"));
        code.writeByte(0x2b); // aload_1
        code.writeByte(0x2c); // aload_2
        code.writeByte(0xb9); // invokeinterface, 3 arguments
        code.writeShort(methodRef(11, "java/util/function/BiConsumer", "accept", "(Ljava/lang/Object;Ljava/lang/Object;)V"));
        code.writeByte(3);
        code.writeByte(0);
        return bytes.toByteArray();
    }
}
